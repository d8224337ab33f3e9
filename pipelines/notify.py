"""Telling people: failures, breaches, promotions and rollbacks, to every address in `notify_urls`.

Apprise sends them (https://github.com/caronc/apprise): mail, chat, a webhook and a hundred others. What
cannot be sent is logged, and never stops the loop.
"""

from __future__ import annotations

import logging
import warnings

from storecast.loop.decisions import Decision
from storecast.settings import Settings

logger = logging.getLogger("storecast.notify")

TITLES = {
    "failed": "A step failed",
    "rollback": "Rolled back",
    "promote": "A new model is current",
    "ask": "A training waits for your yes",
    "breach": "The forecast is not what it should be",
}
"""What people are told of, by action; "breach" are the first days with a breached check."""


def notify(settings: Settings, title: str, text: str, kind: str = "info") -> bool:
    """Send a message to all addresses.

    Args:
        settings: `notify_urls`.
        title: one line.
        text: what happened.
        kind: "info", "warning" or "failure".

    Returns:
        Whether every address has taken it; True where there is none.
    """
    urls = [url.get_secret_value() for url in settings.notify_urls]
    if not urls:
        return True
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it would log addresses with their passwords
    with warnings.catch_warnings():  # a plugin uses a module that Python 3.13 no longer has
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise

        sender = apprise.Apprise()
        wrong = [number for number, url in enumerate(urls, start=1) if not sender.add(url)]
    if wrong:
        logger.warning("notify_urls: entries %s are not addresses that apprise knows", wrong)
    try:
        sent = bool(sender.notify(body=text, title=title, notify_type=apprise.NotifyType(kind)))
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        logger.warning("a notification could not be sent: %s", type(error).__name__)
        return False
    if not sent:
        logger.warning("a notification was not taken by every address of notify_urls")
    return sent and not wrong


def tell(settings: Settings, decision: Decision, topic: str) -> bool:
    """Tell people of a decision, where it is one of `TITLES`."""
    if topic not in TITLES:
        return True
    kind = {"failed": "failure", "rollback": "warning", "breach": "warning"}.get(topic, "info")
    checks = [f"- {check.name} ({check.segment}): {check.note}" for check in decision.seen]
    text = "\n".join([decision.because, *checks, f"Decision {decision.id}, data up to {decision.as_of}"])
    return notify(settings, f"{decision.dataset}: {TITLES[topic]}", text, kind)
