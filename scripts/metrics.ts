/** Writes docs/metrics.md from the table of the metrics. `npm run docs:metrics` */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { metricsPage } from '../api/metrics-table.ts'
import { checkout } from '../temporal.config.ts'

writeFileSync(join(checkout, 'docs', 'metrics.md'), metricsPage())
