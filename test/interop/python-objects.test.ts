/** Tests that an object of Python, which no other format takes, is trained, judged, released and asked on real processes. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { followPythonProject } from '../support/training/python-project.ts'
import { pythonOrReason } from './packages.ts'

const requirements = 'python-objects.txt'
const found = await pythonOrReason(requirements)

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

it.skipIf('reason' in found)(
  'a pipeline with a transformer of its script is released and answers',
  async () => {
    const { predictions } = await followPythonProject({
      edit: (text) =>
        text
          .replace(/def train\(job\):\n[^]*?\n\n\n/, () => `${train}\n\n`)
          // Other tests beside this one make an answer take longer.
          .replace('release=canary(', 'release=canary(qualification={"p99_us": 2_000_000}, '),
      files: {
        'requirements.txt': await readFile(join(checkout, 'test', 'interop', requirements), 'utf8'),
      },
    })
    const [high, low] = predictions.map(({ probability }) => probability)
    expect(high).toBeGreaterThan(0.7)
    expect(low).toBeLessThan(0.3)
  },
)
