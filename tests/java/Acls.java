import java.io.*;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.resource.*;

/**
 * Grants and revokes rights on a Kafka, line by line: "+ Topic LITERAL orders Read" or "- ...", answered with "ok". The
 * arguments are the bootstrap server and the user.
 */
class Acls {
    public static void main(String[] arguments) throws Exception {
        var settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        try (var admin = Admin.create(settings); var lines = new BufferedReader(new InputStreamReader(System.in))) {
            for (var line = lines.readLine(); line != null; line = lines.readLine()) {
                var words = line.split(" ");
                var pattern = new ResourcePattern(SecurityUtils.kind(words[1]), words[3], PatternType.valueOf(words[2]));
                var entry = new AccessControlEntry("User:" + arguments[1], "*", SecurityUtils.operation(words[4]), AclPermissionType.ALLOW);
                var binding = new AclBinding(pattern, entry);
                if (words[0].equals("+")) admin.createAcls(List.of(binding)).all().get();
                else admin.deleteAcls(List.of(binding.toFilter())).all().get();
                System.out.println("ok");
            }
        }
    }

    static class SecurityUtils {
        static ResourceType kind(String name) {
            return ResourceType.fromString(name.replaceAll("([a-z])([A-Z])", "$1_$2"));
        }

        static AclOperation operation(String name) {
            return AclOperation.fromString(name.replaceAll("([a-z])([A-Z])", "$1_$2"));
        }
    }
}
