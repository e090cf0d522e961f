"""The machine that Vitrine runs on: its folders, its embedded servers, the supervisor of its processes."""
