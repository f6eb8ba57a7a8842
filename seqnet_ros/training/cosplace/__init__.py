"""Training CosPlace: single images, in classes by place and direction."""
