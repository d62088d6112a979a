"""A cookie for browsers, where reading needs the token."""

from aiohttp import web

from lettabox.studio.web import auth
from lettabox.studio.web.problem import Problem
from lettabox.studio.web.route import Call
from lettabox.studio.web.studio import Studio


async def post_session(studio: Studio, call: Call) -> web.StreamResponse:
    if not studio.door.is_token(call.body.token):
        fix = "give what `make -s studio-token` prints"
        raise Problem(401, "the token is wrong", fix, "token", headers=auth.CHALLENGE)
    answer = web.Response(status=204, headers={"Cache-Control": "no-store"})
    studio.door.set_cookie(answer)
    return answer


async def delete_session(studio: Studio, call: Call) -> web.StreamResponse:
    answer = web.Response(status=204, headers={"Cache-Control": "no-store"})
    studio.door.drop_cookie(answer)
    return answer
