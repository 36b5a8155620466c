/**
 * Tests that an object of Python, which no other format takes, is trained, judged, released and asked on real processes, also after its
 * replica was killed.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { pipelineTraining } from '../support/training/pipeline-training.ts'
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
  'a pipeline with a transformer of its script is released and answers, also after its replica was killed',
  async () => {
    const { predictions } = await followPythonProject({
      ...pipelineTraining,
      files: {
        'requirements.txt': await readFile(join(checkout, 'test', 'interop', requirements), 'utf8'),
      },
      whileUp: async ({ url, key, project }) => {
        const ask = async () => {
          const body = JSON.stringify({ instances: [{ unit_price: 90, pieces: 3, channel: 'web' }] })
          const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
          const response = await fetch(`${url}/v1/models/orders/predict`, { method: 'POST', headers, body })
          return ((await response.json()) as { predictions?: unknown[] }).predictions?.length
        }
        const [replica, ...others] = processesOf(project, 'api/start.mjs')
        expect(others).toEqual([])
        process.kill(replica!, 'SIGKILL')
        await expect.poll(ask, { timeout: 60_000 }).toBe(1)
        expect(processesOf(project, 'api/start.mjs')).not.toContain(replica)
      },
    })
    const [high, low] = predictions.map(({ probability }) => probability)
    expect(high).toBeGreaterThan(0.7)
    expect(low).toBeLessThan(0.3)
  },
)
