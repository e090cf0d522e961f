"""fal's protocol: its run and queue hosts, storage, platform API and proxy, so that its clients work unmodified."""
