-- Runs once, when the volume letta-postgres is empty. Letta's migrations need `vector`
-- and do not create it; uuid-ossp is for the other projects that share this server.
CREATE EXTENSION IF NOT EXISTS vector;
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
