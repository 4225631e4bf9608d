"""The accuracy room: supernet and images in, an accuracy predictor out (collect, fit, predict)."""
