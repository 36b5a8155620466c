"""Trains on the flights with TensorFlow, LightGBM or scikit-learn, and prints the processor time of each part as a JSON line."""

import json
import os
import resource
import sys
import time

kind, snapshot, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
started = time.time()


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def told(part):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"part": part, "cpu": cpu(), "wall": time.time() - started, "peakMb": peak}), flush=True)


import duckdb
import numpy as np

numbers = ["distance", "recentLateShare"]
texts = ["origin", "destination", "hour", "weekday"]
connection = duckdb.connect()
connection.execute("set threads = 1")


def read(part):
    return connection.execute(
        f"select {', '.join(texts + numbers)}, _label from '{snapshot}' where _part = '{part}'"
    ).fetchnumpy()


def filled(values):
    return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)


data = read("train")
y = np.asarray(data["_label"], dtype=np.float32)
if kind == "lightgbm":
    import lightgbm

    codes = [np.unique(np.asarray(data[name], dtype=str), return_inverse=True)[1] for name in texts]
    x = np.column_stack(codes + [filled(data[name]) for name in numbers])
    told("read")
    rows = lightgbm.Dataset(x, y, categorical_feature=list(range(len(texts))))
    lightgbm.train({"objective": "binary", "num_leaves": 31, "num_threads": 1, "verbose": -1}, rows, 100)
    told("fit")
    sys.exit()
columns = []
for name in texts:
    found, codes = np.unique(np.asarray(data[name], dtype=str), return_inverse=True)
    column = np.zeros((len(y), len(found) + 1), np.float32)
    column[np.arange(len(y)), codes] = 1
    columns.append(column)
for name in numbers:
    values = filled(data[name])
    mean, std = np.nanmean(values), np.nanstd(values)
    columns.append(((np.where(np.isnan(values), mean, values) - mean) / std)[:, None].astype(np.float32))
x = np.concatenate(columns, 1)
if kind == "sklearn":
    from sklearn.neural_network import MLPClassifier
    import warnings

    warnings.simplefilter("ignore")
    told("read")
    MLPClassifier((16,), learning_rate_init=0.003, batch_size=256, max_iter=epochs, alpha=0, random_state=1).fit(x, y)
    told("fit")
    sys.exit()
told("read")
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
told("import")
network = tf.keras.Sequential(
    [
        tf.keras.layers.Dense(16, activation="relu", input_shape=(x.shape[1],)),
        tf.keras.layers.Dense(1, activation="sigmoid"),
    ]
)
network.compile(optimizer=tf.keras.optimizers.Adam(0.003), loss="binary_crossentropy")


class Told(tf.keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        told(f"epoch {epoch + 1}")


network.fit(x, y, batch_size=256, epochs=epochs, verbose=0, callbacks=[Told()])
told("fit")
network.save(os.path.join(os.path.dirname(snapshot), "peer.keras"))
told("saved")
