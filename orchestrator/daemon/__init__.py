"""What happens by itself: schedules and sensors."""
