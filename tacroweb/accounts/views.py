"""One's own account: who one is here, and the password."""

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters

from tacroweb.fields import show_error

from .access import access_of
from .forms import PasswordForm
from .models import ApiToken
from .services import change_password


@sensitive_post_parameters()
def me(request: HttpRequest) -> HttpResponse:
    """Roles, tokens and the password; changing it ends one's other sessions."""
    access = access_of(request)
    form = PasswordForm(request.POST or None, user=access.user)
    if request.method == "POST" and form.is_valid():
        by = access.sign("Changed by the person.")
        try:
            user = change_password(user=access.user, password=form.cleaned_data["password"], by=by)
        except ValidationError as weak:
            show_error(form, weak)
        else:
            update_session_auth_hash(request, user)
            messages.success(request, "Your password is changed; other sessions have ended.")
            return redirect("accounts:me")
    tokens = ApiToken.objects.filter(user=access.user, clinic=access.clinic, revoked_at=None)
    return render(
        request, "accounts/me.html", {"form": form, "tokens": tokens.order_by("expires_at")}
    )
