/** Tests with scikit-learn and skl2onnx that each estimator is saved as ONNX or as an object, with its own answers. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { pythonOrReason } from './packages.ts'

const found = await pythonOrReason('../../docs/examples/sky/requirements.txt')

it.skipIf('reason' in found)(
  `save_onnx gives the answers of each estimator${'reason' in found ? ` (${found.reason})` : ''}`,
  async () => {
    const { python } = found as { python: string }
    const { stderr } = await promisify(execFile)(
      python,
      ['-B', '-m', 'unittest', 'discover', '-s', 'packages/python/tests', '-p', 'test_steps.py'],
      { cwd: checkout, maxBuffer: 1e8 },
    )
    // Without "(skipped=…)".
    expect(stderr).toMatch(/\nOK\n/)
  },
)
