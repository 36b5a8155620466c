/** Compiles the processes before tests start them, because a start has a time limit: on a busy machine, compiling takes longer. */
import { build } from '../../cli/build/build.mjs'
import { checkout } from '../../temporal.config.ts'

export async function setup(): Promise<void> {
  await build(checkout)
}
