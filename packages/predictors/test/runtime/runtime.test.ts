/** Tests how the models of a format survive the end of their thread or process. */
import { describe, expect, it } from 'vitest'
import { createRuntime, type HostOptions, type ModelHost } from '../../src/runtime/runtime.ts'
import { predictorError } from '../../src/errors.ts'

describe('a runtime whose process has died', () => {
  it('starts it again until the system has room for it', async () => {
    let starts = 0
    const begin = ({ onDeath }: HostOptions<string>): ModelHost<string> => {
      if (++starts === 2) throw predictorError('overloaded', 'too many files are open')
      const host: ModelHost<string> = {
        load: () => Promise.resolve({ outputs: 1 }),
        run: () => {
          const cause = new Error('killed')
          const died = predictorError('model_unavailable', 'the process has died')
          onDeath(host, died, new Set(), cause)
          return Promise.reject(died)
        },
        drop: () => Promise.resolve(),
        end: () => Promise.resolve(),
      }
      return host
    }
    const runtime = createRuntime<string>({ name: 'Test', where: 'process', start: begin }, { onError() {} })
    const predictor = await runtime.open('model', 'bytes', { inputs: 1 })
    await expect(predictor.run(Float64Array.of(1), 1, new Float32Array(1))).rejects.toThrow('has died')
    expect(predictor.trouble?.()).toBe('the process has died')
    await expect.poll(() => predictor.trouble?.()).toBeUndefined()
    expect(starts).toBe(3)
    await runtime.stop()
  })
})

it('a runtime refuses answers with fewer numbers than the model has, which would leave those of another request', async () => {
  const start = (): ModelHost<string> => ({
    load: () => Promise.resolve({ outputs: 2 }),
    run: () => Promise.resolve({ output: new Float32Array(1) }),
    drop: () => Promise.resolve(),
    end: () => Promise.resolve(),
  })
  const runtime = createRuntime<string>({ name: 'Test', where: 'process', start }, { onError() {} })
  const predictor = await runtime.open('model', 'bytes', { inputs: 1 })
  await expect(predictor.run(Float64Array.of(1), 1, new Float32Array(2))).rejects.toThrow(
    'the model gives 1 numbers for 1 rows',
  )
  await runtime.stop()
})
