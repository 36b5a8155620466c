/** Tests that an object of Python, which no other format takes, is trained, judged, released and asked on real processes. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { pipelineTraining } from '../support/training/pipeline-training.ts'
import { followPythonProject } from '../support/training/python-project.ts'
import { pythonOrReason } from './packages.ts'

const requirements = 'python-objects.txt'
const found = await pythonOrReason(requirements)

it.skipIf('reason' in found)(
  'a pipeline with a transformer of its script is released and answers',
  async () => {
    const { predictions } = await followPythonProject({
      ...pipelineTraining,
      files: {
        'requirements.txt': await readFile(join(checkout, 'test', 'interop', requirements), 'utf8'),
      },
    })
    const [high, low] = predictions.map(({ probability }) => probability)
    expect(high).toBeGreaterThan(0.7)
    expect(low).toBeLessThan(0.3)
  },
)
