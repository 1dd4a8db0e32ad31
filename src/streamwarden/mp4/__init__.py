"""ISO BMFF (MP4) files: boxes, fragments and a picture of their structure."""
