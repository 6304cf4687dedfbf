"""Who asks, by their token."""

from __future__ import annotations

import pytest

from opgrid.errors import SettingsError
from orchestrator.api.access import Access, Role, Viewer
from orchestrator.sections import Web, WebToken


def test_tokens_come_from_settings_and_the_environment() -> None:
    environ = {"ANN": "sesame", "OPGRID_WEB_TOKEN": 'all; of "it"'}
    access = Access(Web((WebToken("ann", "env:ANN", "launcher"), WebToken("eve", "look"))), environ=environ)
    assert access.viewer("sesame") == Viewer("ann", Role.LAUNCHER)
    assert access.viewer("look") == Viewer("eve", Role.VIEWER)
    assert access.viewer('all; of "it"') == Viewer("OPGRID_WEB_TOKEN", Role.ADMIN)
    assert access.viewer("env:ANN") is access.viewer("") is access.viewer(None) is None


@pytest.mark.parametrize("token", ["schlüssel", "€", "sesame\n", " sesame", "sesame\t", "ses\0ame"])
def test_a_token_that_no_header_takes_is_refused_and_not_shown(token: str) -> None:
    for web, environ in ((Web((WebToken("ann", "env:ANN"),)), {"ANN": token}), (Web(), {"OPGRID_WEB_TOKEN": token})):
        with pytest.raises(SettingsError) as refused:
            Access(web, environ=environ)
        assert "header" in str(refused.value) and token.strip() not in str(refused.value)


def test_a_token_of_a_variable_that_is_not_set_is_refused() -> None:
    with pytest.raises(SettingsError, match="env:ANN is not set"):
        Access(Web((WebToken("ann", "env:ANN"),)), environ={})
