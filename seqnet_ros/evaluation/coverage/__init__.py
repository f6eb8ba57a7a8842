"""Where on a map a robot can be localized, before anyone drives, or by a later drive."""
