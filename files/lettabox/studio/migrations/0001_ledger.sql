-- Every video that was ever asked for, and every attempt to render one. What is here is the truth of a job;
-- Procrastinate's row of it (queue_job) only says whose turn it is, and the two are changed in one transaction.

CREATE TABLE studio.jobs (
    id uuid PRIMARY KEY,
    key text UNIQUE,                        -- the client's Idempotency-Key
    queue_job bigint NOT NULL,              -- procrastinate_jobs.id, whose row is deleted some days after the end
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    prompt text NOT NULL,
    seed bigint,                            -- the one asked for
    width integer,
    height integer,
    frames integer,
    tags text[] NOT NULL DEFAULT '{}',
    priority integer NOT NULL DEFAULT 0,
    created timestamptz NOT NULL DEFAULT clock_timestamp(),
    started timestamptz,                    -- of the last attempt
    ended timestamptz,
    box text,                               -- which renders or rendered it
    attempts integer NOT NULL DEFAULT 0,    -- number of the last attempt
    video text UNIQUE,                      -- <box>/<path below its output folder>
    error text NOT NULL DEFAULT '',         -- why it failed, or why the last attempt came to nothing
    CHECK ((state = 'completed') = (video IS NOT NULL)),
    CHECK ((state IN ('completed', 'failed', 'cancelled')) = (ended IS NOT NULL)),
    CHECK (state <> 'running' OR box IS NOT NULL)
);
CREATE INDEX jobs_created ON studio.jobs (created DESC, id DESC);
CREATE INDEX jobs_by_state ON studio.jobs (state, created DESC, id DESC);
CREATE INDEX jobs_by_tag ON studio.jobs USING gin (tags);
CREATE INDEX jobs_waiting ON studio.jobs (priority DESC, queue_job) WHERE state = 'queued';
CREATE INDEX jobs_running ON studio.jobs (box) WHERE state = 'running';
CREATE INDEX jobs_of_a_size ON studio.jobs (width, height, frames, ended DESC) WHERE state = 'completed';
CREATE INDEX jobs_of_a_box ON studio.jobs (box, ended DESC) WHERE state = 'completed';

-- Written before ComfyUI is told, so that what it was told can be found again after any death.
CREATE TABLE studio.attempts (
    job uuid NOT NULL REFERENCES studio.jobs,
    number integer NOT NULL,
    box text NOT NULL,
    prompt_id uuid NOT NULL UNIQUE,         -- under which ComfyUI knows it
    prefix text NOT NULL,                   -- of its files, below the output folder
    seed bigint NOT NULL,
    began double precision NOT NULL,        -- by the box's own clock, which stamps its files, too
    ended timestamptz,
    outcome text,                           -- NULL while it is the one that runs
    error text NOT NULL DEFAULT '',
    bytes bigint,                           -- of the file it made, as it was found whole
    frames integer,
    width integer,
    height integer,
    -- Nothing of it is left that must go: ComfyUI does not run it, and it has no files but the video.
    tidy boolean NOT NULL DEFAULT false,
    PRIMARY KEY (job, number)
);
CREATE INDEX attempts_untidy ON studio.attempts (box) WHERE NOT tidy;

-- One row for each box that ever had a worker.
CREATE TABLE studio.boxes (
    name text PRIMARY KEY,
    seen timestamptz NOT NULL,
    comfyui boolean NOT NULL,               -- it takes jobs
    problem text NOT NULL,                  -- why it does not
    job uuid,                               -- what it renders
    failures integer NOT NULL DEFAULT 0,    -- attempts in a row that failed by the box's fault
    rest_until timestamptz,                 -- it takes no job before
    broken uuid                             -- prompt_id after which ComfyUI needs a restart; it forgets it by one
);
