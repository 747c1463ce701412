"""What every template knows."""

from django.conf import settings
from django.http import HttpRequest


def product(request: HttpRequest) -> dict[str, str]:
    return {
        "product_name": settings.ROOCLOUD_PRODUCT_NAME,
        "public_url": settings.ROOCLOUD_PUBLIC_URL,
    }
