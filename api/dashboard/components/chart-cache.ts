/**
 * Caches drawn charts. Live pages request the same charts every few seconds, and drawing blocks the event loop. The key names everything
 * that the chart shows.
 */
import { createPromiseCache } from '../promise-cache.ts'

export const cachedChart = createPromiseCache<string>(200)
