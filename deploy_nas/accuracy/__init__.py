"""The accuracy room: supernet and images to an accuracy predictor (collect, fit, predict)."""
