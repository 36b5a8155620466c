/**
 * Caches drawn charts, because live pages request the same ones every few seconds and drawing blocks the event loop. The key names
 * everything the chart shows.
 */
import { createPromiseCache } from '../promise-cache.ts'

export const cachedChart = createPromiseCache<string>(200)
