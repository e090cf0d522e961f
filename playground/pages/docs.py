"""stub"""

from django.http import HttpRequest, HttpResponse


def docs(request: HttpRequest) -> HttpResponse:
    return HttpResponse("")


llms = llms_full = docs
