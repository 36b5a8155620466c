/** Starts `tenure guard-gateway` as a process, in a project whose model file names the gateway. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { startTenure, type Running } from '../commands/tenure-process.ts'

export interface GuardProcess extends Running {
  end(): Promise<void>
}

/** `traffic`: as the model file has it. `folder`: of the project, which is written. Checks follow each other after a second. */
export function startGuard(
  model: string,
  {
    folder,
    traffic,
    replicas,
    checks,
    environment,
  }: {
    folder: string
    traffic: string
    replicas: readonly string[]
    checks: number
    environment: Record<string, string>
  },
): GuardProcess {
  mkdirSync(join(folder, 'models'), { recursive: true })
  writeFileSync(join(folder, 'tenure.config.json'), '{}')
  writeFileSync(
    join(folder, 'models', `${model}.ts`),
    `import { csv, defineModel, direct, haproxy, httpRoute, number, quantity, random, sagemaker } from 'tenure'
     export const model = defineModel({
       name: '${model}', features: { size: number() }, label: quantity(), source: csv('a.csv'),
       split: random({ test: 0.5 }), evaluation: { floors: { rmse: 1 } },
       release: direct({ drill: 'off', watch: { exposure: '15 min' } }),
       train: () => Promise.reject(new Error()), traffic: ${traffic},
     })`,
  )
  const running = startTenure(
    {
      TENURE_PROJECT: folder,
      TENURE_STATE: join(folder, 'state'),
      TENURE_PRIVATE_HOSTS: '127.0.0.1',
      ...environment,
    },
    [
      'guard-gateway',
      model,
      ...replicas.flatMap((url) => ['--replica', url]),
      '--every',
      '1',
      '--checks',
      String(checks),
    ],
  )
  const end = async () => {
    running.child.kill('SIGKILL')
    await running.ended
  }
  onTestFinished(end)
  return { ...running, end }
}
