// @ts-check
// Compiles all processes and the workflows. Skips what is up to date.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { groups } from './entries.mjs'
import { findCompiled } from './manifest.mjs'
import { findCode, workflowCode } from './workflows.mjs'

/** @param {string} root */
const staleGroups = (root) =>
  groups.filter(({ entries }) =>
    entries.some((entry) => existsSync(join(root, entry)) && findCompiled(root, entry) === undefined),
  )

/** @param {string} root */
const lacksWorkflows = async (root) =>
  existsSync(join(root, 'workflows', 'index.ts')) && (await findCode(root)) === undefined

/** Returns the names of the missing and stale parts. @param {string} root */
export async function findStale(root) {
  const names = staleGroups(root).map(({ name }) => name)
  return (await lacksWorkflows(root)) ? [...names, 'workflows'] : names
}

/** Compiles all stale parts. Throws an error with esbuild's text if a source has an error. @param {string} root */
export async function buildAll(root) {
  const { compileGroup, explain } = await import('./compile.mjs')
  const compileGroups = async () => {
    try {
      for (const group of staleGroups(root)) await compileGroup(root, group)
    } catch (error) {
      throw new Error((await explain(error)) ?? String(error), { cause: error })
    }
  }
  const compileWorkflows = async () => {
    const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
    if (await lacksWorkflows(root)) await workflowCode(root, { logger: silent })
  }
  // esbuild compiles the groups in its own process, while this process compiles the workflows.
  await Promise.all([compileGroups(), compileWorkflows()])
}
