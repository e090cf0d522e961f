"""The pages: server-rendered HTML that works as links and forms; htmx replaces a region, a socket replaces one card."""
