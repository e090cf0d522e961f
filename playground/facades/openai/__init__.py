"""OpenAI's media protocol: pictures, films, speech, models and files, so that its clients work unmodified."""
