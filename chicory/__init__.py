"""A distributed task queue for asyncio and trio."""
