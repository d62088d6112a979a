"""The table of all that is answered. Dispatch, validation and /openapi.json are made from it."""

from lettabox.studio.web import frames, gallery, health, jobs, metrics, models, session, videos
from lettabox.studio.web.route import OPEN, WRITE, Image, Route, Text, VideoFile

RANGES = {"Range": {"description": "bytes=first-last; of several ranges in one request, the whole is sent"}}
KEY = {
    jobs.KEY: {"description": "the same key and body give the same job", "minLength": 1, "maxLength": jobs.KEY_LIMIT}
}

ROUTES = (
    Route(
        "GET",
        "/list_videos",
        videos.list_videos,
        "The videos of all boxes, newest first",
        {200: models.Videos, 304: None},
        query=models.ListVideos,
        refusals=(404,),
        files=True,
    ),
    Route(
        "GET",
        "/videos/{box}/{path}",
        videos.get_video,
        "A video, or a part of it",
        {200: VideoFile, 206: VideoFile, 304: None},
        query=models.GetVideo,
        refusals=(404, 409, 412, 416),
        headers=RANGES,
        files=True,
    ),
    Route(
        "GET",
        "/frames/{box}/{path}",
        frames.get_frame,
        "A frame of a video, or several on one sheet",
        {200: Image, 304: None},
        query=models.GetFrame,
        refusals=(404, 409),
        files=True,
    ),
    Route("GET", "/jobs", jobs.list_jobs, "Jobs, newest first", {200: models.Jobs}, query=models.ListJobs),
    Route(
        "POST",
        "/jobs",
        jobs.post_job,
        "Have a video rendered",
        {201: models.Job},
        WRITE,
        body=models.NewJob,
        refusals=(409,),
        headers=KEY,
    ),
    Route("GET", "/jobs/{id}", jobs.get_job, "How far a job is", {200: models.Job}, refusals=(404,)),
    Route(
        "POST",
        "/jobs/{id}/cancel",
        jobs.cancel_job,
        "Have a job not rendered, or not further; one that ended stays as it is",
        {200: models.Job},
        WRITE,
        refusals=(404,),
    ),
    Route(
        "POST",
        "/session",
        session.post_session,
        "A cookie with which a browser may read",
        {204: None},
        OPEN,
        body=models.NewSession,
        refusals=(401,),
    ),
    Route("DELETE", "/session", session.delete_session, "The browser's cookie goes", {204: None}, OPEN),
    Route(
        "GET",
        "/health",
        health.get_health,
        "Whether the studio can do its work",
        {200: models.Health, 503: models.Health},
        OPEN,
        files=True,
    ),
    Route("GET", "/metrics", health.get_metrics, "Figures for Prometheus", {200: Text(metrics.KIND)}, files=True),
    Route("GET", "/openapi.json", health.get_openapi, "This description", {200: dict}, files=True),
    Route("GET", "/", gallery.get_gallery, "The gallery", {200: Text("text/html; charset=utf-8"), 304: None}, OPEN),
    Route(
        "GET",
        "/{file}",
        gallery.get_gallery_file,
        "A file of the gallery",
        {200: bytes, 304: None},
        OPEN,
        refusals=(404,),
    ),
)
