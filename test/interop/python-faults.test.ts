/** Tests that no fault of a model that is code keeps another model from answering, and that its own requests fail in words. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRuntimes } from '../../api/serving/runtime/hosts.ts'
import { pythonFile } from '../support/serving/python-file.ts'
import { faultLimits, pythonFaults, soundModel } from '../support/serving/python-faults.ts'
import { pythonOrReason } from './packages.ts'

const found = await pythonOrReason('python-objects.txt')

describe.skipIf('reason' in found)('a model in Python answers', () => {
  const runtimes = createRuntimes({ onError: () => {}, ...faultLimits() })
  const open = (code: string, { python: models } = runtimes) => {
    const { python = '', ...packages } = 'reason' in found ? {} : found.packages
    const needs = { python, packages }
    return models.open('roses_v1.0.0', { bytes: pythonFile(code, needs), plan: {}, needs }, { inputs: 1 })
  }
  type Model = Awaited<ReturnType<typeof open>>
  const ask = async ({ run }: Model): Promise<number> => {
    const output = new Float32Array(1)
    await run(Float64Array.of(21), 1, output)
    return output[0]!
  }
  let sound: Model
  beforeAll(async () => {
    sound = await open(soundModel)
  })
  afterAll(() => runtimes.stop())

  it.each(Object.entries(pythonFaults))('while another one %s', async (_, { code, says, reaches }) => {
    const own = reaches && createRuntimes({ onError: () => {}, ...faultLimits(reaches) })
    const said = (async () => {
      const faulty = await open(code, own)
      expect(reaches).not.toBe('loadMs')
      try {
        return await ask(faulty)
      } finally {
        faulty.close?.()
      }
    })().catch(({ message }: Error) => message)
    let ended: string | number | undefined
    void said.then((what) => (ended = what))
    do expect(await ask(sound)).toBe(42)
    while (ended === undefined)
    expect(ended).toMatch(says)
    expect(sound.trouble?.()).toBeUndefined()
    await own?.stop()
  })

  it('many rows in few calls, also when each call takes long', async () => {
    const slow = `import time\ncalls = 0\ndef answer(rows):\n    global calls\n    calls += 1\n    time.sleep(0.05)\n    return rows * 0 + calls`
    const model = await open(slow)
    for (let call = 1; call <= 3; call++) expect(await ask(model)).toBe(call)
    const outputs = new Float32Array(100)
    await model.run(new Float64Array(100), 100, outputs)
    model.close?.()
    expect(new Set(outputs).size).toBeLessThan(10)
  })
})
