/** Calls Helm with the API server of the test. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { parseAllDocuments } from 'yaml'
import { checkout, environmentWith } from '../../../temporal.config.ts'
import type { KubeObject } from '../../../test/support/deploy/kube-objects.ts'

const run = promisify(execFile)
export const chartFolder = join(checkout, 'deploy', 'helm', 'tenure')

export type Helm = (...args: string[]) => Promise<string>

/** Keeps Helm's state in `home`. */
export function helmWith(program: string, home: string, kubeconfig: string): Helm {
  const env = environmentWith({
    KUBECONFIG: kubeconfig,
    HELM_CACHE_HOME: join(home, 'helm', 'cache'),
    HELM_CONFIG_HOME: join(home, 'helm', 'config'),
    HELM_DATA_HOME: join(home, 'helm', 'data'),
  })
  return async (...args) => {
    const { stdout } = await run(program, args, { cwd: chartFolder, env, maxBuffer: 1 << 26 })
    return stdout
  }
}

/** Counts the objects of each kind in manifests. */
export function countKinds(manifests: string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const each of parseAllDocuments(manifests)) {
    const kind = (each.toJSON() as KubeObject | null)?.kind
    if (kind !== undefined) counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
}
