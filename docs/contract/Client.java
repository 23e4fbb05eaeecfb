// Publishes one request with Apache Kafka's clients and prints its outcomes, with the libraries kafka-clients and
// jackson-databind in the class path: java -cp 'libs/*' Client.java BROKERS REQUEST_ID URL...

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Client {
    public static void main(String[] arguments) throws Exception {
        String brokers = arguments[0];
        String requestId = arguments[1];
        List<String> urls = Arrays.asList(arguments).subList(2, arguments.length);
        ObjectMapper json = new ObjectMapper();

        Map<String, Object> toPublish = Map.of("bootstrap.servers", brokers, "acks", "all");
        try (var producer = new KafkaProducer<>(toPublish, new StringSerializer(), new StringSerializer())) {
            String request = json.writeValueAsString(
                Map.of("request_id", requestId, "file_urls", urls, "model", "fun-asr"));
            producer.send(new ProducerRecord<>("transcription.requests", requestId, request)).get();
        }

        Map<String, Object> toRead = Map.of(
            "bootstrap.servers", brokers,
            "group.id", "readers-of-" + requestId,
            "isolation.level", "read_committed", // not the default
            "auto.offset.reset", "earliest",
            "max.partition.fetch.bytes", 16 * 1024 * 1024); // a transcript of hours has some megabytes
        try (var consumer = new KafkaConsumer<>(toRead, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of("transcription.results", "transcription.failures"));
            Set<Integer> missing = new HashSet<>(IntStream.range(0, urls.size()).boxed().toList());
            while (!missing.isEmpty()) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
                    JsonNode outcome = json.readTree(record.value());
                    if (!outcome.get("request_id").asText().equals(requestId)) {
                        continue; // another's
                    }
                    System.out.println(record.topic() + " " + outcome.get("file_index") + " " + textOf(outcome));
                    if (outcome.get("file_index").isNull()) {
                        return; // the record was refused, or only answered
                    }
                    missing.remove(outcome.get("file_index").asInt());
                }
            }
        }
    }

    static String textOf(JsonNode outcome) {
        if (outcome.has("code")) {
            return outcome.get("code").asText() + ": " + outcome.get("message").asText();
        }
        StringBuilder text = new StringBuilder();
        outcome.at("/transcript/channels").forEach(channel -> text.append(channel.get("text").asText()).append(' '));
        return text.toString().strip();
    }
}
