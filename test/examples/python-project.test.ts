/** Tests a project in Python as `tenure init --python` writes it, with its packages from the real registry and a metric of its own that decides. */
import { expect, it } from 'vitest'
import { followPythonProject } from '../support/training/python-project.ts'

const lost = `def lost(labels, scores, rows):
    import numpy

    return (rows["unit_price"] * numpy.where(scores >= 0.5, 1 - labels, labels)).mean()


`

it('a project in Python is made from a CSV, trained with LightGBM, judged by its own primary metric, released and served', async () => {
  let retrained = ''
  const { predictions } = await followPythonProject({
    edit: (text) =>
      text
        .replace('tenure.define_model(', `${lost}tenure.define_model(`)
        .replace(
          'evaluation={',
          'evaluation={"primary": "lost", "stand_in": "brier", "metrics": {"lost": {"of": lost, "better": "lower"}},',
        ),
    onRetrained: (text) => void (retrained = text),
  })
  expect(retrained).toMatch(/^Offline gates: passed[^]*^lost +– +\d/m)
  const [expensive = 0, cheap = 1] = predictions.map(({ probability }) => probability)
  expect(expensive).toBeGreaterThan(0.7)
  expect(cheap).toBeLessThan(0.3)
})
