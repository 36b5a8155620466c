/**
 * Tests on real processes that a small network learns what a pipeline of scikit-learn answers in its Python process, is released in its place
 * and answers without Python.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { pipelineTraining } from '../support/training/pipeline-training.ts'
import { followPythonProject } from '../support/training/python-project.ts'
import { pythonOrReason } from './packages.ts'

const requirements = 'python-objects.txt'
const found = await pythonOrReason(requirements)

/** The rows that the project asks its first champion. */
const rows = [90, 9].map((price) => ({ unit_price: price, pieces: 3, channel: 'web' }))

it.skipIf('reason' in found)(
  'a network that has learnt what a Python process answers is proven equal, at least 20 times faster, and replaces it',
  async () => {
    let learnt: number[] = []
    const { predictions } = await followPythonProject({
      edit: (text) =>
        pipelineTraining
          .edit(text)
          // Some 400 test rows prove no share of other decisions below 1 %.
          .replace('evaluation={', 'evaluation={"margins": {"accuracy": 0.03}, ')
          .replace(
            /release=canary\(.*\),\n/,
            'release=tenure.direct(approval={"by": 1, "within": "7 d"}, qualification={"p99_us": 2_000_000}),\n',
          ),
      files: {
        'requirements.txt': await readFile(join(checkout, 'test', 'interop', requirements), 'utf8'),
      },
      whileUp: async ({ url, key, asOf, tenure, keyOf }) => {
        const order = ['--epsilon', '0.03', '--times', '20', '--as-of', asOf, '--watch']
        const said = await tenure(['compress', 'orders_v1.0.0', '--to', 'distil', ...order])
        expect(said).toContain('orders_v1.1.0 passed the gate')
        expect(await tenure(['versions', 'card', 'orders_v1.1.0'])).toMatch(
          /distil with its answers to 1,\d{3} training rows/i,
        )
        const approver = { TENURE_URL: url, TENURE_KEY: await keyOf('eva', 'approver') }
        await expect
          .poll(() => tenure(['approve', 'orders'], approver).then(() => 'approved', String))
          .toBe('approved')
        const ask = async () => {
          const response = await fetch(`${url}/v1/models/orders/predict`, {
            method: 'POST',
            headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
            body: JSON.stringify({ instances: rows }),
          })
          return (await response.json()) as { version: string; predictions: { probability: number }[] }
        }
        await expect.poll(async () => (await ask()).version).toBe('orders_v1.1.0')
        learnt = (await ask()).predictions.map(({ probability }) => probability)
      },
    })
    for (const [at, { probability }] of predictions.entries())
      expect(Math.abs(learnt[at]! - probability)).toBeLessThan(0.05)
  },
)
