"""Its addresses."""

from __future__ import annotations

from django.urls import path

from playground.api.errands import Receive, errand_of
from playground.assets import uploads
from playground.facades.asking import Call
from playground.facades.dialect import Answer
from playground.facades.view import FacadeView, http
from tests.facades.plain.dialect import DIALECT, Lines


class Runs(FacadeView):
    dialect = DIALECT
    scopes = {"POST": "predictions:write", "QUERY": "predictions:read"}

    def post(self, request):
        said = request.data
        again = request.headers.get("X-Again")
        call = Call(
            dialect=DIALECT.name,
            model=said["model"],
            input=said["input"],
            repeat_of="POST /plain/runs",
            is_again=None if again is None else again == "yes",
            keep={"note": said.get("note")},
        )
        row = self.ask(call)
        return self.shown(row, frames=Lines() if said.get("stream") else None)

    def query(self, request):
        return http(Answer.of_json({"looked": True}))


class Run(FacadeView):
    dialect = DIALECT
    scopes = {"GET": "predictions:read"}

    def get(self, request, prediction_id):
        return self.shown(self.find(prediction_id))


class Files(FacadeView):
    dialect = DIALECT
    scopes = {"POST": "assets:write"}

    def post(self, request):
        errand, caller = errand_of(request), self.caller()
        if errand.work is None:
            errand.work = Receive(uploads.announce(caller.workspace, by=None, size=errand.length))
            return http(Answer(202))
        asset, _ = uploads.finish(errand.upload, errand.arrival, errand.found)
        return http(Answer.of_json({"file": asset.uid}))


urlpatterns = [
    path("plain/runs", Runs.as_view()),
    path("plain/runs/<str:prediction_id>", Run.as_view()),
    path("plain/files", Files.as_view()),
]
