// Fill the tables with Prisma's client: node load.mjs CLIENT FOLDER MODE
// FOLDER has tables.json, parents first, and TABLE.jsonl of each. Prints the seconds from the first file to the end.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { PrismaPg } from "@prisma/adapter-pg";

const BATCH = 5000;
const [clientFolder, folder, mode] = process.argv.slice(2);
const { PrismaClient } = (await import(pathToFileURL(join(clientFolder, "index.js")).href)).default;
const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) });

function* records(name) {
  for (const line of readFileSync(join(folder, `${name}.jsonl`), "utf-8").split("\n")) {
    if (line) yield JSON.parse(line);
  }
}

// In batches, in one transaction.
async function createMany(tables) {
  await prisma.$transaction(
    async (tx) => {
      for (const { name } of tables) {
        let batch = [];
        for (const record of records(name)) {
          if (batch.push(record) === BATCH) {
            await tx[name].createMany({ data: batch });
            batch = [];
          }
        }
        if (batch.length) await tx[name].createMany({ data: batch });
      }
    },
    { timeout: 3_600_000 },
  );
}

// As seed scripts often are: of each row the parents are looked up, then it is upserted by its id, row by row.
async function upserts(tables) {
  for (const { name, key, references } of tables) {
    for (const record of records(name)) {
      for (const [column, parent] of references) {
        if (record[column] !== undefined) await prisma[parent].findUniqueOrThrow({ where: { id: record[column] } });
      }
      const named = Object.fromEntries(key.map((column) => [column, record[column]]));
      const where = key.length === 1 ? named : { [key.join("_")]: named };
      await prisma[name].upsert({ where, create: record, update: record });
    }
  }
}

const began = performance.now();
const tables = JSON.parse(readFileSync(join(folder, "tables.json"), "utf-8"));
await (mode === "upserts" ? upserts : createMany)(tables);
await prisma.$disconnect();
console.log((performance.now() - began) / 1000);
