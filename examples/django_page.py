"""A product page in Django that asks `qa serve`, and keeps its API key out of the page.

    pip install django
    QA_SERVE=http://127.0.0.1:8000 QA_KEY=... python examples/django_page.py runserver

The page asks its own origin; the key stays on the server.
"""

import os
import sys

import httpx
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_GET

SERVICE = os.environ.get("QA_SERVE", "http://127.0.0.1:8000")
KEY = os.environ.get("QA_KEY", "")
PASSED_ON = ("Content-Type", "Retry-After")

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1", "localhost"])


@require_GET
def ask(request: HttpRequest, item_id: str) -> HttpResponse:
    asked = {"question": request.GET.get("question", ""), "item_id": item_id, "timeout_ms": 2000}
    # Shoppers take turns by their addresses. Behind a proxy of yours, take what it names.
    headers = {"X-API-Key": KEY, "X-Forwarded-For": request.META["REMOTE_ADDR"]}
    try:
        found = httpx.post(f"{SERVICE}/v1/ask", json=asked, headers=headers, timeout=5)
    except httpx.TransportError:
        error = {"code": "unreachable", "message": "Try again later."}
        return JsonResponse({"error": error}, status=503, headers={"Retry-After": "1"})
    # The service's errors may be shown to anybody, too.
    kept = {name: found.headers[name] for name in PASSED_ON if name in found.headers}
    return HttpResponse(found.content, status=found.status_code, headers=kept)


urlpatterns = [path("items/<str:item_id>/ask", ask)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
