/** Trains the project of `followPythonProject` as an object of Python. */

/** A pipeline with a transformer of the script. */
const train = `def train(job):
    import numpy as np
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    class Cut(BaseEstimator, TransformerMixin):
        def fit(self, X, y=None):
            self.top_ = np.quantile(X, 0.95, axis=0)
            return self

        def transform(self, X):
            return np.minimum(X, self.top_)

    X, y = job.train()
    numbers = make_pipeline(Cut(), StandardScaler())
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["channel"]), (numbers, ["unit_price", "pieces"]))
    job.save(make_pipeline(columns, LogisticRegression()).fit(X, y))
`

/** Makes the model file that `init` wrote train it. */
export const pipelineTraining = {
  edit: (text: string): string =>
    text
      .replace(/def train\(job\):\n[^]*?\n\n\n/, () => `${train}\n\n`)
      // Other work on the machine makes an answer take longer.
      .replace('release=canary(', 'release=canary(qualification={"p99_us": 2_000_000}, '),
}

const prepare = `def prepare(df):
    return df.assign(total=df["unit_price"] * df["pieces"])


def train(job):`

/**
 * The same with a function that prepares rows. The training writes to the path `answers` what the model says in plain Python to the two orders
 * that `followPythonProject` asks.
 */
export const preparedPipelineTraining = (answers: string) => ({
  edit: (text: string): string =>
    pipelineTraining
      .edit(text)
      .replace('def train(job):', () => prepare)
      .replace('["unit_price", "pieces"]', '["unit_price", "pieces", "total"]')
      .replace(
        /( +)job\.save\((.*)\)\n/,
        (_, indent: string, model: string) =>
          `${[
            '',
            'import json',
            'import pandas',
            `model = ${model}`,
            'job.save(model)',
            'asked = pandas.DataFrame({"unit_price": [90.0, 9.0], "pieces": [3.0, 3.0], "channel": ["web", "web"]})',
            `with open(${JSON.stringify(answers)}, "w") as file:`,
            '    json.dump(model.predict_proba(prepare(asked))[:, 1].tolist(), file)',
          ].join(`\n${indent}`)}\n`,
      )
      .replace('release=canary(', 'prepare=prepare,\n    release=canary('),
})
