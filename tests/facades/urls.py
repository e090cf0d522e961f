"""The site's map with the plain protocol on it."""

from playground.urls import *  # noqa: F403 - handlers too
from playground.urls import urlpatterns as ours
from tests.facades.plain.routes import urlpatterns as plain

urlpatterns = [*ours, *plain]
