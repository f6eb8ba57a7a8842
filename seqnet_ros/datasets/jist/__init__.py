"""The data sets of JIST and SeqVLAD: MSLS, Oxford RobotCar and SF-XL."""
