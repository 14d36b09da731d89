"""What stands before a plate, frame after frame: objects, their tracks, and events.

Each part is a pure function of a prediction and of a frozen state, so that a program may stop and
go on in another process:

objects = find_objects(prediction)
tracks, track_state = follow_objects(objects, track_state, time_s)
events, event_state = find_events(prediction, event_state, time_s)
"""

from __future__ import annotations
