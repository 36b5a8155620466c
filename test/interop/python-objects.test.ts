/**
 * Tests that an object of Python, which no other format takes, is trained, judged, released and asked on real processes, also after its
 * replica was killed.
 */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it, onTestFinished } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { preparedPipelineTraining } from '../support/training/pipeline-training.ts'
import { followPythonProject } from '../support/training/python-project.ts'
import { pythonOrReason } from './packages.ts'

const requirements = 'python-objects.txt'
const found = await pythonOrReason(requirements)

/** The processes of a project with this in their command. */
function processesOf(project: string, command: string): number[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        const read = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8')
        return read('cmdline').includes(command) && read('environ').includes(project)
      } catch {
        // It has ended.
        return false
      }
    })
    .map(Number)
}

it.skipIf('reason' in found)(
  'a pipeline with a transformer of its script and a function that prepares rows is released, and answers as in plain Python, also after its replica was killed',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tenure-python-objects-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const answers = join(folder, 'answers.json')
    const { predictions } = await followPythonProject({
      ...preparedPipelineTraining(answers),
      files: {
        'requirements.txt': await readFile(join(checkout, 'test', 'interop', requirements), 'utf8'),
      },
      whileUp: async ({ url, key, project }) => {
        const ask = async () => {
          const body = JSON.stringify({ instances: [{ unit_price: 90, pieces: 3, channel: 'web' }] })
          const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
          const response = await fetch(`${url}/v1/models/orders/predict`, { method: 'POST', headers, body })
          const { predictions = [] } = (await response.json()) as { predictions?: { probability: number }[] }
          return predictions[0]?.probability
        }
        const before = await ask()
        const [replica, ...others] = processesOf(project, 'api/start.mjs')
        expect(others).toEqual([])
        process.kill(replica!, 'SIGKILL')
        await expect.poll(ask).toBe(before)
        expect(processesOf(project, 'api/start.mjs')).not.toContain(replica)
      },
    })
    const [high, low] = predictions.map(({ probability }) => probability)
    expect(high).toBeGreaterThan(0.7)
    expect(low).toBeLessThan(0.3)
    const plain = JSON.parse(await readFile(answers, 'utf8')) as number[]
    expect(high).toBeCloseTo(plain[0]!, 6)
    expect(low).toBeCloseTo(plain[1]!, 6)
  },
)

/** Saves the weights of a training as text, which the file beside the model file reads. */
const weights = `def train(job):
    from sklearn.linear_model import LogisticRegression
    from pathlib import Path
    import tempfile

    X, y = job.train()
    fitted = LogisticRegression().fit(X[["unit_price"]], y)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "line.txt").write_text(f"{fitted.coef_[0, 0]} {fitted.intercept_[0]}")
        job.save(folder)
`
const serve = `"""Answers with a line of text."""
from pathlib import Path

import numpy


def load(folder):
    global slope, constant
    slope, constant = map(float, (Path(folder) / "line.txt").read_text().split())


def predict(frame):
    return 1 / (1 + numpy.exp(-(slope * frame["unit_price"] + constant)))
`

it.skipIf('reason' in found)(
  'the file that the model file says answers does so with the folder of the training',
  async () => {
    let card = ''
    const { predictions } = await followPythonProject({
      edit: (text) =>
        text
          .replace(/def train\(job\):\n[^]*?\n\n\n/, () => `${weights}\n\n`)
          .replace(
            'release=canary(',
            'serve=python("parts_answer.py"),\n    release=canary(qualification={"p99_us": 2_000_000}, ',
          ),
      files: {
        'requirements.txt': await readFile(join(checkout, 'test', 'interop', requirements), 'utf8'),
        'parts_answer.py': serve,
      },
      whileUp: async ({ tenure }) => {
        card = await tenure(['versions', 'card', 'orders'])
      },
    })
    const [high, low] = predictions.map(({ probability }) => probability)
    expect(high).toBeGreaterThan(0.7)
    expect(low).toBeLessThan(0.3)
    expect(card).toContain(String.raw`parts\_answer.py, runs code of its model file in a process of its own`)
  },
)

it.skipIf('reason' in found)(
  'the Python package passes its tests of objects with their packages',
  async () => {
    const { python } = found as { python: string }
    const argv = ['-B', '-m', 'unittest', '-v', 'test_tenure.Prepare', 'test_tenure.Texts']
    const { stderr } = await promisify(execFile)(python, argv, {
      cwd: join(checkout, 'packages', 'python', 'tests'),
    })
    expect(stderr).toMatch(/Ran [1-9]\d* tests[^]*\nOK\n/)
  },
)
