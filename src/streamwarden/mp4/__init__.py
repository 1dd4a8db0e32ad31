"""Reading fragmented MP4 (ISO BMFF): boxes, fragments, and the newest key frame."""
