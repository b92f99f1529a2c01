"""Webhooks: alerts that arrive. router.py numbers them, outbox.py says what is owed, courier.py delivers."""
