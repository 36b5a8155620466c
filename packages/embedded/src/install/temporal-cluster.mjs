// @ts-check
// Builds the programs of a Temporal cluster: the server, whose services run as separate processes, and the tool that migrates its
// databases. Builds them from the modules of the development server, so that both have the same fixes.
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { buildPrograms } from './go/build.mjs'
import { takeLock } from './lock.mjs'
import { faultOf, makePart } from './part.mjs'
import { SERVER_VERSION } from './temporal.mjs'
import { go, lacking, remedy } from './tools.mjs'

const PROGRAMS = ['go.temporal.io/server/cmd/server', 'go.temporal.io/server/cmd/tools/sql']

/** Returns the paths of the programs, whether they exist or not. @param {Pick<import('./machine.mjs').Machine, 'cache' | 'arch'>} place */
export function clusterPrograms({ cache, arch }) {
  // Outside the parts of the set-up, which removes unfinished drafts when it starts.
  const directory = join(cache, 'temporal-cluster', `${SERVER_VERSION}-${arch}`)
  return { directory, server: join(directory, 'server'), sqlTool: join(directory, 'sql') }
}

/**
 * Builds the programs if the cache lacks them, which takes some minutes. Throws what is missing if Go cannot build them.
 * @param {import('./machine.mjs').Machine} place @param {(text: string) => void} update
 */
export async function buildCluster({ cache, env, arch }, update) {
  const programs = clusterPrograms({ cache, arch })
  if ((await faultOf(programs.directory)) === undefined) return programs
  const lacks = await lacking([go], env)
  if (lacks.length > 0) throw new Error(remedy(lacks))
  mkdirSync(dirname(programs.directory), { recursive: true })
  const release = await takeLock(join(dirname(programs.directory), 'lock'), (holder) =>
    update(`waiting for another build (${holder})`),
  )
  try {
    if ((await faultOf(programs.directory)) !== undefined)
      await makePart(programs.directory, (draft) => buildPrograms(PROGRAMS, { draft, env, update }))
  } finally {
    release()
  }
  return programs
}
