"""In front of Django: whatever waits, streams or is large, in one raw ASGI module.

A caller that waits costs one small task on the loop: no thread, no database connection. Django gets what is short, in
a bounded number of threads. `site` is the ASGI application; `server` is the web process, which starts before Django
is set up, so that nothing is imported here.
"""
