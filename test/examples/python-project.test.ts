/** Tests a project in Python as `tenure init --python` writes it, with its packages from the real registry. */
import { expect, it } from 'vitest'
import { followPythonProject } from '../support/training/python-project.ts'

it('a project in Python is made from a CSV, trained with LightGBM, released and served', async () => {
  const { predictions } = await followPythonProject()
  const [expensive = 0, cheap = 1] = predictions.map(({ probability }) => probability)
  expect(expensive).toBeGreaterThan(0.7)
  expect(cheap).toBeLessThan(0.3)
}, 1_200_000)
