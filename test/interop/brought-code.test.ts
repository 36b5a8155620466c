/**
 * Tests that Python code that no training of Tenure has written is registered, judged, released, asked and rolled back on real processes: a
 * pickle with a transformer of its own, a folder of MLflow, a model of statsmodels, and a class in serve.py.
 */
import { execFile } from 'node:child_process'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { checkout, programEnvironment } from '../../temporal.config.ts'
import { followPythonProject } from '../support/training/python-project.ts'
import { pythonOrReason } from './packages.ts'

const requirements = join(checkout, 'test', 'interop', 'mlflow-models.txt')
const found = await pythonOrReason('mlflow-models.txt')

/** What each kind is registered as. */
const kinds: Record<string, { artifact: string; library: string }> = {
  pickle: { artifact: 'pickle/model.pkl', library: 'model.pkl' },
  mlflow: { artifact: 'mlflow', library: 'MLflow folder (mlflow.sklearn)' },
  statsmodels: { artifact: 'statsmodels/model.pickle', library: 'model.pickle' },
  code: { artifact: 'code', library: 'serve.py' },
}

it.skipIf('reason' in found)(
  'brought code of each kind is released, answers as in plain Python, and is rolled back; only an admin may bring it',
  async () => {
    if ('reason' in found) return
    await followPythonProject({
      edit: (text) =>
        text
          .replace(
            'soak="30 min"',
            'soak="1 d", shadow="off", qualification={"p99_us": 10_000_000, "rss_bytes": 4_000_000_000}, watch={"every": "1 s"}',
          )
          // Plain models answer worse than the trees of the champion, and are judged nevertheless.
          .replace(
            '"calibration": "off"',
            '"calibration": "off", "margins": {"auc": 0.3, "brier": 0.3, "logLoss": 1}',
          ),
      async whileUp({ url, key, project, asOf, tenure, keyOf }) {
        const folder = join(project, 'brought')
        await mkdir(folder)
        const script = join(checkout, 'test', 'interop', 'mlflow', 'bring_models.py')
        const { stdout } = await promisify(execFile)(
          found.python,
          [script, folder, join(project, 'orders.csv')],
          {
            env: programEnvironment({}),
          },
        )
        const expected = JSON.parse(stdout) as Record<string, number>
        expect(Object.keys(expected)).toEqual(Object.keys(kinds))
        const register = (artifact: string, changes?: Record<string, string>) =>
          tenure(
            [
              'versions',
              'register',
              'orders',
              '--artifact',
              join(folder, artifact),
              '--requirements',
              requirements,
              '--as-of',
              asOf,
              '--watch',
            ],
            changes,
          )
        const operator = { TENURE_URL: url, TENURE_KEY: await keyOf('olga', 'operator') }
        await expect(register('mlflow', operator)).rejects.toThrow(
          /only admin may bring a version that is code, which replicas run; the key olga is operator/,
        )
        const approver = { TENURE_URL: url, TENURE_KEY: await keyOf('eva', 'approver') }
        const ask = async () => {
          const response = await fetch(`${url}/v1/models/orders/predict`, {
            method: 'POST',
            headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
            body: JSON.stringify({
              instances: [{ unit_price: 90, pieces: 3, channel: 'web' }],
              routing_key: `caller ${Math.random()}`,
            }),
          })
          return (await response.json()) as { version: string; predictions: { probability: number }[] }
        }
        for (const [at, [kind, { artifact, library }]] of Object.entries(kinds).entries()) {
          const version = `orders_v1.${at + 1}.0`
          await register(artifact)
          await expect
            .poll(() => tenure(['approve', 'orders'], approver).then(() => 'approved', String))
            .toBe('approved')
          let answer: number | undefined
          await expect
            .poll(async () => {
              const { version: by, predictions } = await ask()
              if (by === version) answer = predictions[0]!.probability
              return by
            })
            .toBe(version)
          expect(answer, kind).toBeCloseTo(expected[kind]!, 6)
          expect(await tenure(['versions', 'card', version])).toContain(
            `${library.replace('_', String.raw`\_`)}, runs code of local in a process of its own`,
          )
          await tenure(['rollback', 'orders'])
          await expect.poll(() => tenure(['releases', 'list', 'orders', '--json'])).toContain('rolled_back')
          const by = new Set<string>()
          for (let caller = 0; caller < 30; caller++) by.add((await ask()).version)
          expect([...by]).toEqual(['orders_v1.0.0'])
        }
        expect(await readFile(join(folder, 'code', 'serve.py'), 'utf8')).toContain('def load(')
      },
    })
  },
)

it.skipIf('reason' in found)('objects of each library answer as in plain Python', async () => {
  if ('reason' in found) return
  const argv = ['-B', '-m', 'unittest', '-v', 'test_objects', 'test_estimators', 'test_tenure.Folders']
  const { stderr } = await promisify(execFile)(found.python, argv, {
    cwd: join(checkout, 'packages', 'python', 'tests'),
  })
  // That of CatBoost is skipped, whose package is not among these.
  expect(stderr).toMatch(/Ran [1-9]\d* tests[^]*\nOK \(skipped=1\)\n/)
})
