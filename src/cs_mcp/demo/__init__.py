"""A small book of customers with stories, in relative days: it is as fresh on any day it is started."""
