/** Tests that an object of Python, which no other format takes, is trained, judged, released and asked on real processes. */
import { execFile } from 'node:child_process'
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

it.skipIf('reason' in found)(
  'a pipeline with a transformer of its script and a function that prepares rows is released, and answers as in plain Python',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tenure-python-objects-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const answers = join(folder, 'answers.json')
    const { predictions } = await followPythonProject({
      ...preparedPipelineTraining(answers),
      files: {
        'requirements.txt': await readFile(join(checkout, 'test', 'interop', requirements), 'utf8'),
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

it.skipIf('reason' in found)(
  'the Python package passes its tests of objects with their packages',
  async () => {
    const { python } = found as { python: string }
    const argv = ['-B', '-m', 'unittest', '-v', 'test_tenure.Prepare']
    const { stderr } = await promisify(execFile)(python, argv, {
      cwd: join(checkout, 'packages', 'python', 'tests'),
    })
    expect(stderr).toMatch(/Ran 3 tests[^]*\nOK\n/)
  },
)
